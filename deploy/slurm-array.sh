#!/usr/bin/env bash
# A Slurm array that runs many images privately: every task is a client, and takes its part of them.
#
#     export PQ_CONNECT=HOST:7000 PQ_MODEL=lenet PQ_KEY=alice.pem PQ_SERVER_KEY=ed25519:...
#     export PQ_INPUT=images.npy PQ_INDEX=0..10000 PQ_OUT=parts
#     sbatch --array=0-7 slurm-array.sh
#     pq merge parts/part-*.jsonl
#
# A part that is there whole is not run again: an array that failed is submitted again as it was.

#SBATCH --job-name=pq
#SBATCH --output=pq-%A-%a.log
#SBATCH --requeue

set -u
mkdir -p "$PQ_OUT"

# Lost, busy and draining servers are tried again, answered images are kept.
"${PQ:-pq}" infer --json --connect "$PQ_CONNECT" --model "$PQ_MODEL" \
    --key "$PQ_KEY" --server-key "$PQ_SERVER_KEY" --retry-for "${PQ_RETRY_FOR:-600}" \
    --input "$PQ_INPUT" --index "$PQ_INDEX" --shard env --batch "${PQ_BATCH:-1}" \
    --out "$PQ_OUT/part-$SLURM_ARRAY_TASK_ID.jsonl"
code=$?

# 4: no server for all that time. Later there may be one; other codes would come again.
if ((code == 4)) && ((${SLURM_RESTART_COUNT:-0} < 3)); then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
