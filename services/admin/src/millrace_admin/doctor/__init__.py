"""`millrace doctor`: facts are gathered at the edge, findings are functions of them, one module a subject."""
