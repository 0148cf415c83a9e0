"""What every Python process of a soak does at its start, because its folder is the first of PYTHONPATH."""

from soak.start import begin

begin()
