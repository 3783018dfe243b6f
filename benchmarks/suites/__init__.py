"""The data sets that detection is measured on. A new one is one file."""
