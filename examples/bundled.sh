#!/usr/bin/env bash
# Makes the bundled weights from nothing: FOLDER/speedy-64x32/checkpoint. The same command goes
# on after anything; what is done is skipped. docs/explanation/bundled_weights.md says why and how
# long. Needs `pip install 'phyda[nature]'`.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
mkdir -p "${1:?usage: bundled.sh FOLDER}"
cd "$1"

nature() {  # FOLDER DAYS START SEED [OPTION ...]
  phyda download --source nature --out "$1" --days "$2" --start "$3" --seed "$4" "${@:5}"
}

pairs() {  # STORE KIND INPUT ...
  [[ -e $1 ]] || phyda preprocess "${@:3}" --pairs "$2" --out "$1"
}

members() {  # STORE: a checkpoint for oi in the folder of that name; its networks hardly learn
  [[ ! -e $1/checkpoint ]] || return 0
  phyda train --data "$1.zarr" --out "$1" --config "$here/bundled.toml" --set samples=16 \
    --set validation_cases=1 --set network.encoder=8 --set network.denoiser=8 --set network.spread=
}

round() {  # NAME STORE [OPTION ...]
  [[ ! -e $1/checkpoint ]] || return 0
  phyda train --data "$2" --out "$1" --config "$here/bundled.toml" "${@:3}"
}

cycle() {  # FOLDER NATURE CHECKPOINT SEED [OPTION ...], on one core
  OMP_NUM_THREADS=1 phyda simulate twin --out "$1" --nature "$2" --checkpoint "$3" --seed "$4" \
    "${@:5}"
}

both() {  # two commands at once, each a text
  $1 &
  local first=$! failed=0
  $2 || failed=1
  wait $first || failed=1
  return $failed
}

# Truths: two years, and the days that scores and the demo are of.
both "nature train 360 2000-03-01 1" "nature train2 360 2001-03-01 2"
nature test 60 2010-12-15 7 --twins 1

# Static members without any weights: differences of a day first, then errors of a cycle with those.
pairs lagged.zarr lagged train
members lagged
cycle first train lagged/checkpoint 11 --last 2000-05-06
pairs linear.zarr forecast train first
members linear

# Errors that oi leaves in cycles of all seasons, and a first training on them.
both "cycle oi1 train linear/checkpoint 11 --last 2000-09-01" \
  "cycle oi2 train2 linear/checkpoint 12 --first 2001-09-01"
pairs round1.zarr forecast train train2 oi1 oi2
round round1 round1.zarr --nature train2

# Errors that its own analyses leave, in the other half of each run, and a second training. Static
# members are worth more the longer the time that they are spread over.
# The last weeks of the second year are for validation: the first checkpoint has not seen them, and
# the second is chosen and its spread calibrated in its own cycle there.
both "cycle own1 train round1/checkpoint 21 --method phyda --first 2000-10-10 --last 2001-02-24" \
  "cycle own2 train2 round1/checkpoint 22 --method phyda --first 2001-05-01 --last 2001-09-01"
pairs round2.zarr forecast train train2 oi1 oi2 own1 own2
round speedy-64x32 round2.zarr --nature train2 --init-from round1/checkpoint --set samples=3500
echo "the weights are in $PWD/speedy-64x32/checkpoint"
