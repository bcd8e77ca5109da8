"""The page: one HTML file, which shows a session by WebRTC, or by MJPEG where WebRTC finds no way, and controls it over
a WebSocket. Nothing is loaded from anywhere else."""
