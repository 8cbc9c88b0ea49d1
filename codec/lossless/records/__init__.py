"""The codec `records`: tables and arrays of whole numbers, exactly, by hidden Chow-Liu trees."""
