#!/bin/sh
# The very first time: everything but what runs the image, since its registry comes of this apply.
. "$(dirname "$0")/lib.sh"

[ -z "$(kept previous)" ] || exit 0
say "First: what there is without an image"
"$ROOT/infra/deploy/plan.sh" --without-image
"$ROOT/infra/deploy/apply.sh"
