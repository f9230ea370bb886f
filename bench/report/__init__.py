"""Report: outcomes to pages, tables and files."""
