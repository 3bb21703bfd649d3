"""Stored frames and flow in other people's formats: files for one video, folders for a whole data set."""
