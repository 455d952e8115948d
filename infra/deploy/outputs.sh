#!/bin/sh
# Prints what a person needs next: the addresses, and what is left to do by hand.
. "$(dirname "$0")/lib.sh"

use_login
tf output
