"""How a repository on the Hugging Face Hub is named, for whoever reads such names."""

import re

REPO = r"[A-Za-z0-9][\w.-]{0,95}/[\w][\w.-]{0,95}"  # owner/name, inside a longer pattern
COMMIT = re.compile(r"[0-9a-f]{40}")  # a revision that always means the same files
