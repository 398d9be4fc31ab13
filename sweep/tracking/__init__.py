"""Where rows are sent beside the table: TensorBoard, MLflow, Weights & Biases, optuna-dashboard."""
