#!/bin/sh
# What a person needs next: the webhook's address, the bucket's link, what is left to do.
. "$(dirname "$0")/lib.sh"

use_login
tf output
