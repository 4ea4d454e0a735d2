"""Networks: the tables of architectures and recipes, training, inference and the model store."""
