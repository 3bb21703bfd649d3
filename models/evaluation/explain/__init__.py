"""What in a clip a network's score stands on, in pictures: activation maps, Grad-CAM, occlusion, predicted flow."""

EXPLAIN = "explain"  # the folder of a run's pictures, in that of the run
