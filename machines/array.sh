#!/bin/sh
# The pipeline with an array job for each round of heavy stages: `sh machines/array.sh 8` where
# sbatch is, in a clone and a .venv that all nodes see. The tasks fill the work folder and need no
# network between them; `dvc repro` then finds every unit there and keeps the outs. After any
# trouble the same command resumes: what is finished is not made again.
set -eu
num_tasks=${1:?"usage: sh machines/array.sh NUMBER_OF_TASKS"}

share() {
  mkdir -p work
  dvc repro --dry --single-item "$@" | sed -n 's/^> //p' > work/commands.sh  # of what changed
  if [ -s work/commands.sh ]; then
    sbatch --wait --array="1-$num_tasks" machines/share.slurm work/commands.sh
  fi
  dvc repro "$@"
}

dvc repro upstream prepare
share invert
dvc repro plan
share generate retrieve
share sift
dvc repro examine
share select bridge
share finetune_real finetune_mixed finetune_bridged
dvc repro
