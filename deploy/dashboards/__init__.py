"""The dashboards as code: `python -m deploy.dashboards` writes deploy/grafana/dashboards.

    queries ─► panels ─► overview, pipeline, model, trust_and_safety ─► frame ─► JSON

One dashboard a file. They are in Grafana's classic form, since that is what provisioning from files and the side-cars in a
cluster read; Grafana turns it into its newer one by itself.
"""

import warnings

with warnings.catch_warnings():
    # The library would rather have the newer form, and says so once for each of the older ones, on import.
    warnings.simplefilter("ignore", DeprecationWarning)
    import grafana_foundation_sdk.builders.dashboard
    import grafana_foundation_sdk.models.dashboardv2beta1  # noqa: F401  imported for its warnings to be over
