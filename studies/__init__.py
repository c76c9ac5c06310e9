"""One study's life: its file, its run folder, its results, its report and the command line."""
