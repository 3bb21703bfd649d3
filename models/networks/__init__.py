"""The networks of the papers, each in a file of its own, over one kind of clip tensor."""
