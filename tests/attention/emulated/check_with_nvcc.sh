#!/usr/bin/env bash
# Checks what ptxas reported of the attention kernels when they were built (cmake/log_ptxas.sh), for
# every architecture of the build: no spills (of flash_attn_2, forward, head_dim 128 at most 256
# bytes, and d_q, d_k, d_v together, head_dim 64, at most 8), no more registers than the table in
# block_shapes.hpp says. Generates the PTX of sm_80 and counts the tensor-core products, matrix
# loads and copies of each kernel, which follow from its tiles. Prints the table of
# docs/attention_kernels.md.
#
#   check_with_nvcc.sh SOURCE_FOLDER WORK_FOLDER FOLDER_OF_TRAIN_OBJECTS NVCC
set -euo pipefail

source_folder=$1
work_folder=$2
object_folder=$3
nvcc=$4

flags=(-std=c++20 -Werror all-warnings -Xcompiler "-Wall,-Wextra,-Wconversion"
    -I"$source_folder/include" -I"$source_folder/src")
mkdir -p "$work_folder"

# One line for each kernel of a log: architecture, kernel, type, template arguments, registers,
# spilled bytes.
report() {
    c++filt | sed -E 's/isoflop::(attention::(flash_attn_2|sdpa|tensor_cores)|simt):://g; s/\(KeyGradients\)//g' | awk '
        /Compiling entry function/ {
            match($0, /for .sm_[0-9]+/); architecture = substr($0, RSTART + 5, RLENGTH - 5)
            match($0, /[a-z_]+_kernel</); kernel = substr($0, RSTART, RLENGTH - 1)
            rest = substr($0, RSTART + RLENGTH); sub(/^[A-Za-z]+</, "", rest)
            split(rest, part, /[,>]/); type = part[1]
            shape = part[2]; for (i = 3; i <= 6 && part[i] ~ /^ *[0-9]+$/; ++i) shape = shape part[i]
        }
        /bytes spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0 }
        /Used [0-9]+ registers/ {
            match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
            print architecture "," kernel "," type "," shape "," registers "," spilled
        }'
}

check_backend() {
    local backend=$1
    local source="$source_folder/src/attention/$backend/${backend}_cuda.cu"
    local lines="$work_folder/$backend.csv"
    echo "$backend"
    report < "$object_folder/attention/$backend/${backend}_cuda.cu.o.ptxas.txt" > "$lines"
    if [ ! -s "$lines" ]; then
        echo "the build reported no kernels of $backend in $object_folder"
        exit 1
    fi

    # Rows are kernels, columns architectures: registers, and spilled bytes after a +.
    awk -F, -v backend="$backend" '
        FNR == NR {  # the table
            if (/kForwardTiles = /) table = "forward_kernel"
            if (/kQueryGradientTiles = /) table = "query_gradient_kernel"
            if (/kKeyGradientTiles = /) table = "key_gradients_kernel"
            if (/kAtomicTiles = /) table = "atomic"
            if (/kBackwardTiles = /) table = "backward_kernel"
            if (/^ *\{[0-9]+,/) {
                gsub(/[{}]/, "")
                budget[table, $1 + 0, $2 + 0, $3 + 0, $4 + 0] = $6 + 0
            }
            next
        }
        $3 == "Bfloat16" {
            shape = $4; sub(/^ */, "", shape); gsub(/ +/, " ", shape)
            key = $2 " | " shape
            if (!(key in seen)) { seen[key] = 1; keys[++count] = key }
            if (!($1 in known)) { known[$1] = 1; names[++columns] = $1 }
            value[key, $1] = $5 ($6 > 0 ? "+" $6 : "")
        }
        { allowed = backend == "flash_attn_2" && $2 == "forward_kernel" && $4 ~ /^ *128 / ? 256 : 0
          if ($2 == "key_gradients_kernel" && $4 ~ /^ *64 32 128 4 3/) allowed = 8
          split($4, part, " ")
          most = budget[part[5] > 2 ? "atomic" : $2, part[1], part[2], part[3], part[4]]
          if ($2 == "row_sums_kernel" || $2 == "round_kernel") most = 64
          if ($6 > allowed || $5 > most) { print "too much, of " most " registers: " $0; bad = 1 } }
        END {
            head = "| kernel | shape |"; rule = "|---|---|"
            for (c = 1; c <= columns; ++c) { head = head " " names[c] " |"; rule = rule "---|" }
            print head; print rule
            for (k = 1; k <= count; ++k) {
                row = "| " keys[k] " |"
                for (c = 1; c <= columns; ++c) row = row " " value[keys[k], names[c]] " |"
                print row | "sort"
            }
            exit bad
        }' "$source_folder/src/attention/$backend/block_shapes.hpp" "$lines"

    # Products, matrix loads and copies in the PTX, and those that the tiles tell.
    local ptx="$work_folder/${backend}_sm_80.ptx"
    "$nvcc" "${flags[@]}" -ptx -arch=sm_80 -o "$ptx" "$source"
    c++filt < "$ptx" | sed -E 's/isoflop::(attention::(flash_attn_2|sdpa|tensor_cores)|simt):://g; s/\(KeyGradients\)//g' | awk -v backend="$backend" '
        function expect(what, found, wanted) {
            if (found == wanted) return
            print name ": " found " " what ", not " wanted; bad = 1
        }
        # Of one thread for a tile: chunks of 96 and 32 columns are taken four at a time.
        function copies_of(tile_rows) {
            lanes = d % 64 == 0 ? d / 8 : 4
            return int((tile_rows + threads / lanes - 1) / (threads / lanes)) * d / 8 / lanes
        }
        function check_sdpa() {
            if (kernel == "forward_kernel") {  # 16 queries of a warp, three places that copy them
                unroll = d >= 128 ? 2 : d / 16
                expect("mma", mma, part[4] / 8 * (unroll + d / 16))
                expect("ldmatrix", loads, unroll * (1 + part[4] / 16) + part[4] / 16 * d / 16)
                copies = 2 * copies_of(part[4]); threads = 32
                expect("cp.async", async, copies + 3 * copies_of(16))
            } else {
                unroll = d >= 128 ? 4 : d / 16; of_keys = part[6] != 2; products = of_keys + 1
                columns = of_keys ? d * part[3] / 16 / warps / 8 : 0
                columns = columns % 4 == 0 ? (columns > 4 ? 4 : columns) : 2  # of d_q at a time
                values = part[6] == 0 ? 2 : 1
                expect("mma", mma, part[3] / 8 * (products * unroll + values * d / 16) + columns)
                wanted = products * unroll * (1 + part[3] / 16) + values * part[3] / 16 * d / 16
                if (columns > 0) wanted += 1 + columns / 2
                expect("ldmatrix", loads, wanted)
                expect("cp.async", async, (1 + of_keys) * copies_of(part[4]) + 4 * copies_of(part[3]))
            }
            expect("local arrays", depot, 0)
            ++checked
        }
        function check() {
            if (kernel == "row_sums_kernel" || kernel == "round_kernel" || kernel == "") return
            d = part[2]; warps = part[5]; threads = 32 * warps
            if (backend == "sdpa") { check_sdpa(); return }
            if (kernel == "forward_kernel" || kernel == "query_gradient_kernel") {
                own = part[3]; other = part[4]
            } else {
                own = part[4]; other = part[3]
            }
            rows = own / warps / 16
            own_copies = copies_of(own); other_copies = copies_of(other)
            score_mma = rows * other / 8 * d / 16; score_loads = d / 16 * (rows + other / 16)
            value_mma = score_mma; value_loads = other / 16 * d / 16
            if (kernel == "forward_kernel") {
                scores = 1; values = 1; copies = own_copies + 3 * other_copies
            } else if (kernel == "query_gradient_kernel") {
                scores = 2; values = 1; copies = 2 * own_copies + 4 * other_copies
            } else {
                scores = part[6] == 2 ? 1 : 2; values = part[6] % 3 == 0 ? 2 : 1
                copies = 2 * own_copies + 4 * other_copies
                if (d == 64) { score_mma *= 3 / 4; score_loads *= 3 / 4 }  # of dP, 2 of 4 steps are unrolled
            }
            columns = kernel == "key_gradients_kernel" && part[6] > 2 ? d * other / 16 / warps : 0  # of d_q
            expect("mma", mma, scores * score_mma + values * value_mma + own / 16 * columns / 8)
            expect("ldmatrix", loads,
                scores * score_loads + values * value_loads + (columns > 0 ? own / 16 * (1 + columns / 16) : 0))
            expect("atomics", atomics, columns / 2)
            expect("cp.async", async, copies)
            expect("local arrays", depot, 0)
            ++checked
        }
        /\.entry/ {
            check()
            kernel = ""
            if (match($0, /[a-z_]+_kernel</)) {
                kernel = substr($0, RSTART, RLENGTH - 1)
                rest = substr($0, RSTART + RLENGTH); sub(/^[A-Za-z]+</, "", rest)
                name = kernel " " rest; split(rest, part, /[,>]/)
            }
            mma = loads = async = atomics = depot = 0
        }
        /mma\.sync/ { ++mma }
        /ldmatrix\.sync/ { ++loads }
        /cp\.async\.cg/ { ++async }
        /(red|atom)\.(global\.|relaxed\.)?.*add\.f32/ { ++atomics }
        /__local_depot/ { ++depot }
        END {
            check()
            print checked " kernels hold the products, loads and copies of their tiles"
            if (checked == 0) bad = 1
            exit bad
        }'
}

for backend in flash_attn_2 sdpa; do
    check_backend "$backend"
done
