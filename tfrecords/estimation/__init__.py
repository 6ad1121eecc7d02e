"""Poses from plain video: estimators of joints, and the tracks of persons from frame to frame. Empty so far."""
