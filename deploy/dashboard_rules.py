"""Prints the dashboards' expressions as Prometheus recording rules, so that promtool can parse them.

python -m deploy.dashboard_rules deploy/grafana/dashboards/*.json > rules.yml && promtool check rules rules.yml
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.verify.queries import dashboard_queries, substituted

# What Grafana fills in before it asks Prometheus: any value will do that can stand there.
CHOSEN: Final = {"__rate_interval": "1m", "__range": "30m", "baseline": "1w"} | dict.fromkeys(
    ("job", "instance", "partition", "label", "stage"), ".+"
)


def rules(path: Path) -> Iterator[dict[str, str]]:
    """A dashboard's expressions, each with a name for its place that a rule can have. Choices at the top ask for no series."""
    for query in dashboard_queries(path.name, json.loads(path.read_text(encoding="utf-8"))):
        if query.kind != "variable":
            # An annotation has a title where a panel's query has a letter.
            place = f"panel_{query.panel}:{query.ref}" if query.panel else re.sub(r"[^a-zA-Z]+", "_", query.title)
            yield {
                "record": f"{path.stem.replace('-', '_')}:{place}",
                "expr": substituted(query.expression, CHOSEN),
            }


def main(dashboards: list[str]) -> None:
    """Write the rules of these files to stdout. JSON is YAML."""
    found = [rule for path in map(Path, dashboards) for rule in rules(path)]
    json.dump({"groups": [{"name": "dashboards", "rules": found}]}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
