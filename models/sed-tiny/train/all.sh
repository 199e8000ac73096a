#!/bin/sh
# Everything from nothing to exported weights, one process of one thread at a time (about four hours on two
# slow cores, minutes of it without a GPU's help being drawing). Each step skips or resumes what is there.
# Usage: ./all.sh [minutes for scenes]
set -eu
cd "$(dirname "$0")"
export OMP_NUM_THREADS=1
py=${PYTHON:-python3}
$py fetch.py --evaluation
$py artwork.py --evaluation
$py textures.py --seed 1 --variants 40
$py teach.py
$py distill.py --minutes 18
$py train_image.py --phase crops --minutes 40 --cooldown 0.15
$py train_image.py --phase scenes --minutes "${1:-120}" --ranks 2
$py make_examples.py
$py evaluate.py
