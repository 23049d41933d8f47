"""The main job, shown with kubectl on a real API server; every state that is printed is checked."""
