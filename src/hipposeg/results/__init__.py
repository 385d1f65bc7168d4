"""Results: read the tables of finished runs (`load`), write them (`store`), compare models, show them as text."""
