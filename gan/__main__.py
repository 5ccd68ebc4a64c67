"""`python -m gan …`"""

import sys

from gan.cli import main

if __name__ == "__main__":
    sys.exit(main())
