// Times training steps of llm.c's CPU trainer (https://github.com/karpathy/llm.c) at any shape:
//
//   cc -Ofast -march=native -fopenmp -DOMP -I LLM_C llm_c_step.c -lm -o llm_c_step
//   llm_c_step N_EMBD N_LAYER N_HEAD BLOCK_SIZE BATCH VOCAB STEPS
//
// Prints "step MILLISECONDS LOSS" per step, the loss before the update. Weights are made here
// instead of read, because what a step costs does not depend on them.
#define TESTING  // leaves out its main()
#include "train_gpt2.c"

static uint32_t next_random(uint32_t* state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void build(GPT2* model, GPT2Config config) {
    memset(model, 0, sizeof(*model));
    model->config = config;
    fill_in_parameter_sizes(model->param_sizes, config);
    for (int i = 0; i < NUM_PARAMETER_TENSORS; i++) model->num_parameters += model->param_sizes[i];
    model->params_memory = malloc_and_point_parameters(&model->params, model->param_sizes);
    uint32_t state = 1337;
    for (size_t i = 0; i < model->num_parameters; i++)
        model->params_memory[i] = 0.02f * ((float)next_random(&state) / (float)(1 << 23) - 1.0f);
    const size_t norms = (size_t)config.num_layers * (size_t)config.channels;
    for (size_t i = 0; i < norms; i++) model->params.ln1w[i] = model->params.ln2w[i] = 1.0f;
    for (int i = 0; i < config.channels; i++) model->params.lnfw[i] = 1.0f;
}

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return 1e3 * (double)time.tv_sec + 1e-6 * (double)time.tv_nsec;
}

int main(int argc, char** argv) {
    if (argc != 8) {
        fprintf(stderr, "llm_c_step N_EMBD N_LAYER N_HEAD BLOCK_SIZE BATCH VOCAB STEPS\n");
        return 2;
    }
    const int sequence_length = atoi(argv[4]), batch = atoi(argv[5]), vocab = atoi(argv[6]);
    const GPT2Config config = {.max_seq_len = sequence_length,
                               .vocab_size = vocab,
                               .padded_vocab_size = (vocab + 127) / 128 * 128,
                               .num_layers = atoi(argv[2]),
                               .num_heads = atoi(argv[3]),
                               .channels = atoi(argv[1])};
    GPT2 model;
    build(&model, config);
    const int tokens = batch * sequence_length;
    int* text = (int*)malloc((size_t)(tokens + 1) * sizeof(int));
    uint32_t state = 7;
    for (int step = 0; step < atoi(argv[7]); step++) {
        for (int i = 0; i <= tokens; i++) text[i] = (int)(next_random(&state) % (uint32_t)vocab);
        const double start = now_ms();
        gpt2_forward(&model, text, text + 1, (size_t)batch, (size_t)sequence_length);
        gpt2_zero_grad(&model);
        gpt2_backward(&model);
        gpt2_update(&model, 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, step + 1);
        printf("step %.3f %.6f\n", now_ms() - start, model.mean_loss);
        fflush(stdout);
    }
    free(text);
    gpt2_free(&model);
    return 0;
}
