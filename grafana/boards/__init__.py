"""The Grafana boards as code: `python -m boards` in grafana/ writes grafana/dashboards/*.json, which is committed."""
