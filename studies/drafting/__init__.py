"""`init`: a study from what somebody has: a recipe, or models alone; and files of questions."""
