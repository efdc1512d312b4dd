#!/bin/sh
# Starts one node's processes of a stage, a process a GPU: `node.sh src STAGE ...` on every node.
# HEAD_NODE is the name or address of the first node; Slurm sets the SLURM_ variables.
exec accelerate launch --config_file machines/two_nodes.yaml \
  --num_machines "$SLURM_NNODES" --num_processes "$((SLURM_NNODES * SLURM_GPUS_ON_NODE))" \
  --machine_rank "$SLURM_NODEID" --main_process_ip "$HEAD_NODE" "$@"
