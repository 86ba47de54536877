#!/bin/bash
# A scheduler and workers in one SLURM job, and the command beside them: sbatch deploy/slurm.sh studies/digits.toml
# The variables of the certificate (docs/operations.md) must be set, with files that all nodes see. One task a worker;
# with GPUs add `--gpus-per-task=1`: each worker then sees its own by CUDA_VISIBLE_DEVICES.
#SBATCH --job-name=nightune
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
set -euo pipefail
: "${MLFLOW_TRACKING_URI:?set it to the MLflow server that all nodes reach, such as http://mlflow:5000}"
study=${1:?give the study file}
files=$PWD/.dask-$SLURM_JOB_ID.json  # in a folder that all nodes share
trap 'kill $(jobs -p) 2>/dev/null; rm -f "$files"' EXIT

dask scheduler --protocol tls --scheduler-file "$files" --port 0 --dashboard-address 127.0.0.1:0 &
until [ -s "$files" ]; do sleep 1; done
NIGHTUNE_STORE=${SLURM_TMPDIR:-/tmp}/nightune-$(id -un) \
  srun dask worker --scheduler-file "$files" --nthreads 1 --memory-limit 0 --death-timeout 60 --no-dashboard &
NIGHTUNE_DASK=$(python -c 'import json, sys; print(json.load(open(sys.argv[1]))["address"])' "$files")
export NIGHTUNE_DASK
nightune tune "$study"
