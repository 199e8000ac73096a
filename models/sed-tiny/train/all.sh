#!/bin/sh
# Everything from nothing to exported weights. Each step skips or resumes what is there; times are processor
# minutes. Run train_image.py --phase scenes again for as long as validation improves;
# average.py with an earlier export may be better than both.
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
$py train_image.py --phase crops --minutes 16 --cooldown 0.15
$py train_image.py --phase scenes --minutes "${1:-120}" --ranks 2
$py make_examples.py
$py evaluate.py
$py parity_scenes.py
