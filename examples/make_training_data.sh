#!/usr/bin/env bash
# Remakes the data of the bundled weights in FOLDER: a nature run of 360 days with twin forecasts, and 60 other days;
# then a second year, and cycled forecasts of both, for a store with a cycle's background errors; then parts of the second year again,
# cycled with the networks of the third training. About two hours on one core, and four more for the cycles; every step continues where it was stopped. Needs `pip install 'phyda[nature]'`.
set -euo pipefail
folder=${1:?usage: make_training_data.sh FOLDER}
for every in 96 48; do
  phyda download --source nature --days 360 --start 2000-03-01 --seed 1 --twins 3 --twins-every "$every" --out "$folder/train"
done
phyda download --source nature --days 60 --start 2010-12-15 --seed 7 --twins 1 --out "$folder/test"
phyda preprocess "$folder/train" --pairs twin --out "$folder/train.zarr" --overwrite
phyda preprocess "$folder/test" --pairs forecast --out "$folder/test.zarr" --overwrite

phyda download --source nature --days 360 --start 2001-03-01 --seed 2 --out "$folder/train2"
phyda simulate twin --nature "$folder/train" --out "$folder/cycle1" --seed 11
phyda simulate twin --nature "$folder/train2" --out "$folder/cycle2" --seed 12
phyda preprocess "$folder/train" "$folder/train2" "$folder/cycle1" "$folder/cycle2" --pairs forecast \
  --out "$folder/train-cycled.zarr" --overwrite

# For the fourth training, with the bundled weights of the third: `examples/make_training_data.sh FOLDER CHECKPOINT`.
checkpoint=${2:-}
if [[ -n $checkpoint ]]; then
  phyda download --source nature --days 360 --start 2001-03-01 --seed 2 --twins 1 --twins-every 192 --out "$folder/train2"
  for part in "winter 8 9 10 11" "summer 3 4 5 6"; do
    set -- $part
    mkdir -p "$folder/$1"
    for chunk in "${@:2}"; do ln -sf "$(realpath "$folder/train2")/native_$(printf %04d "$chunk").npz" "$folder/$1/"; done
  done
  phyda simulate twin --nature "$folder/train2" --out "$folder/cycle3" --seed 12 --checkpoint "$checkpoint" --max-cycles 139
  phyda simulate twin --nature "$folder/winter" --out "$folder/cycle4" --seed 14 --checkpoint "$checkpoint"
  phyda simulate twin --nature "$folder/summer" --out "$folder/cycle5" --seed 15 --checkpoint "$checkpoint" --method phyda --max-cycles 344
  phyda preprocess "$folder/train2" "$folder"/cycle[345] --pairs forecast --out "$folder/train-own.zarr" --overwrite
fi
