"""``python -m trails``."""

import sys

from trails.cli import main

sys.exit(main())
