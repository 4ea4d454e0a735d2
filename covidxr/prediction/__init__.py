"""Predictions for single images, worklists and archives."""
