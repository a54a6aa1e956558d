"""Agreement of a served model with the teacher."""
