#!/usr/bin/env bash
# `make demo` sets up and runs it; everything it writes is in demo/.
# Without VIDEO: all steps on a generated dataset, from scratch: convert, train, evaluate, export, serve, query.
# With SET="KEY=VALUE ...": the training with other settings, as `train.py --set` takes them.
# With VIDEO=FILE: what I3D with its published weights recognises in that file, and a picture of it.
set -euo pipefail
video=${VIDEO:-}
read -ra settings <<<"${SET:-}"
case "$video" in
  "" | /*) ;;
  "~/"*) video=$HOME/${video#"~/"} ;; # not every shell expands it after "VIDEO="
  *) video=$PWD/$video ;;
esac
cd "$(dirname "$0")"
out=demo
name=sta_hands
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
export TF_CPP_MIN_LOG_LEVEL=3
begin=$SECONDS

step() { printf '\n== %s (%d s)\n' "$1" $((SECONDS - begin)); }

if [ -n "$video" ]; then
  models=$out/pretrained # is kept: a second video needs no second export
  # What is no video is refused here, not after the export.
  python -c 'import sys; from serving.client.streams import VideoFrames; from zoo.shared import command_line
sys.exit(command_line.run(lambda files: VideoFrames(*files) and 0, sys.argv[1:]))' "$video"
  step "fetch the published weights, unless they are in the cache"
  python -m zoo.weights kinetics400
  step "export I3D with the 400 classes of Kinetics, unless it is in $models"
  [ -e $models/i3d/1 ] || python -m serving.export --pretrained kinetics400 --to $models
  step "predict"
  python -m serving.predict --model $models/i3d "--video=$video" "--picture=$out/$(basename "$video").png"
  step "done: the picture is $out/$(basename "$video").png"
  exit
fi

rm -rf $out/{data,run,models,server.log}
step "convert: 1440 clips of SynthADL, 24 people, rendered on this machine"
python -m tfrecords.convert synthetic --out $out/data --subjects 24 --repetitions 2 --frames 32 --size 72 \
  --parts left_hand,right_hand
step "inspect"
python -m tfrecords.inspect $out/data
step "train: a network of poses, then STA-Hands, which sees what is in the hands too"
python recipes/train.py --recipe sta_hands_synthetic --data $out/data --output $out/run \
  ${settings[@]:+--set "${settings[@]}"}
step "evaluate on people that training did not see, with the network of poses alone beside it"
python recipes/evaluate.py --run $out/run --data $out/data --stages --attention 4
step "export for TF-Serving"
python -m serving.export --run $out/run --to $out/models --name $name
step "serve"
python -m serving.server --model_base_path $out/models/$name --model_name $name --port 0 >$out/server.log 2>&1 &
server=$!
until grep -q "^Serving" $out/server.log; do
  kill -0 "$server" 2>/dev/null || { cat $out/server.log >&2; exit 1; }
  sleep 0.2
done
grep "^Serving" $out/server.log
address=$(sed -n 's/^Serving .* on \([^ ]*\)$/\1/p' $out/server.log)
step "query: one clip, whose true class is drink from cup"
python -m serving.client --server "$address" --model $name --record $out/data --clip S001C001P002R001A001
step "verify: served predictions against the Keras model"
python -m serving.verify --run $out/run --data $out/data --server "$address" --model $name --clips 16
kill "$server"
wait "$server" || true
server=
step "done: all figures and plots are in the report, which a browser shows; the run directory is $out/run"
find $out/run -name report.html
find $out/run -name '*.png'
printf '\nTo recognise the activity in a video of yours: make demo VIDEO=my.mp4\n'
