"""Stands in for the weekly job's script in a deployment without a bundle: it fails, and says what to do."""

raise SystemExit("this deployment has no bundle: run `make glue-bundle`, and deploy again")
