"""Alert rules, their ISA-18.2 life cycle, and the REST interface for MES and people."""
