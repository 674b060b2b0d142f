"""All configuration as one text: written from the rows, compared with them, and brought back into them."""
