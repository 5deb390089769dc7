"""The networks of CycleGAN (Zhu et al., ICCV 2017) and their files."""
