#!/bin/bash
# sbatch deploy/slurm.sh experiment=grk model.path=<folder> data.train=<votes> data.val=<votes>
# 8 nodes of 8 GPUs; Lightning reads ranks and addresses from SLURM, one task a GPU
#SBATCH --job-name=p2l
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=outputs/slurm-%j.log

export OMP_NUM_THREADS=8
# one folder for all nodes; the same folder if the job is queued again, so that it resumes from its last checkpoint
run=outputs/slurm-$SLURM_JOB_ID
resume=null
[ -e "$run/checkpoints/last.ckpt" ] && resume=$run

srun python scripts/train.py trainer=fsdp2 \
  trainer.num_nodes="$SLURM_JOB_NUM_NODES" trainer.devices=8 \
  trainer.strategy.save_distributed_checkpoint=true \
  output_dir="$run" resume="$resume" "$@"
