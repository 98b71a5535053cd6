"""The Grafana boards as code: `make boards` writes grafana/dashboards/*.json, which is committed."""
