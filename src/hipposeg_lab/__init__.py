"""What proves and publishes hipposeg: studies, the page, the benchmark."""
