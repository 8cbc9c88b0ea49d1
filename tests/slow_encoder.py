"""The command line with the stand-in for fitting, slowed down so that it can be interrupted.

A script, so that worker processes, which begin with its first part, fit in the same way.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import stand_in

import laconic.codec.video
from laconic.codec.video.stream import fitting

sys.modules["laconic.codec.video.chunk"] = stand_in
laconic.codec.video.chunk = stand_in
fitting.SAVE_SECONDS = 0.2
stand_in.pause.seconds = 0.1

if __name__ == "__main__":
    from laconic.cli.main import main

    main()
