"""`python -m covidxr`."""

from covidxr.cli import main

main()
