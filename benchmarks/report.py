"""How large the report of a large run is, and how long a browser takes to draw it.

    python benchmarks/report.py [--passes N]

Needs chromium. The time is the page's own: from the start of its navigation to the end of its script.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import olive_like
from olive_like.report import FILE, write_report

_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")  # fmt: skip
_TOLD = "<script>document.title = 'drawn in ' + performance.now().toFixed(0) + ' ms'</script></body>"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--passes", type=int, default=200)
    count = parser.parse_args().passes
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("error: there is no chromium to draw it with", file=sys.stderr)
        return 2
    passes = {f"p{i}": {"type": "Null", "value": i, "input": f"p{(i - 1) // 2}" if i else "input_model"}
              for i in range(count)}  # fmt: skip
    flow = {"input_model": {"type": "Null"}, "system": "null", "passes": passes}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        result = olive_like.run(flow, cache_dir=root / "cache", output_dir=root / "out", in_process=True)
        begun = time.perf_counter()
        file = write_report(result.folder)
        print(f"written in {1e3 * (time.perf_counter() - begun):.1f} ms")
        size = file.stat().st_size
        told = root / FILE
        told.write_text(file.read_text().replace("</body>", _TOLD))
        done = subprocess.run(
            [browser, *_FLAGS, f"--user-data-dir={root / 'profile'}", "--dump-dom", told.as_uri()],
            capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
    drawn = int(re.search(r"<title>drawn in (\d+) ms", done.stdout)[1])  # type: ignore[index]
    print(f"{count} passes: {size / 1e6:.2f} MB (bar 3), drawn in {drawn} ms (bar 1500)")
    return 0 if size < 3e6 and drawn < 1500 else 1


if __name__ == "__main__":
    sys.exit(main())
