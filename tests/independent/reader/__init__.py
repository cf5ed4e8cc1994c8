"""A reader of Sheaf's repositories after `format-spec/`, one module for a few chapters each."""
