"""BibTeX entries that several plug-ins share."""

TOKEN_WEIGHTING = """\
@inproceedings{helm2025token,
  title={Token Weighting for Long-Range Language Modeling},
  author={Helm, Falko and Daheim, Nico and Gurevych, Iryna},
  booktitle={Findings of the Association for Computational Linguistics: NAACL 2025},
  note={arXiv:2503.09202},
  year={2025}
}"""
LONGATTN = """\
@article{wu2025longattn,
  title={LongAttn: Selecting Long-context Training Data via Token-level Attention},
  author={Wu, Longyun and Zhu, Dawei and Zhao, Guangxiang and Yu, Zhuocheng and Ran, Junfeng and \
Wong, Xiangyu and Sun, Lin and Li, Sujian},
  journal={arXiv preprint arXiv:2502.16860},
  year={2025}
}"""
LONGPPL = """\
@inproceedings{fang2025wrong,
  title={What is Wrong with Perplexity for Long-context Language Modeling?},
  author={Fang, Lizhe and Wang, Yifei and Liu, Zhaoyang and Zhang, Chenheng and Jegelka, Stefanie and \
Gao, Jinyang and Ding, Bolin and Wang, Yisen},
  booktitle={International Conference on Learning Representations},
  note={arXiv:2410.23771},
  year={2025}
}"""
LONGFILTER = """\
@inproceedings{deng2026beyond,
  title={Beyond Length: Quantifying Long-Range Information for Long-Context LLM Pretraining Data},
  author={Deng, Haoran and Lin, Yingyu and Lin, Zhenghao and Liu, Xiao and Sun, Yizhou and \
Ma, Yian and Gong, Yeyun},
  booktitle={International Conference on Learning Representations},
  note={arXiv:2510.25804},
  year={2026}
}"""
EXACT = """\
@article{zhu2026where,
  title={Where Does Long-Context Supervision Actually Go? Effective-Context Exposure Balancing},
  author={Zhu, Jinchang and Li, Jindong and Zou, Chengyu and Fu, Rong and Wang, Chao and He, Haowei and \
Yang, Menglin},
  journal={arXiv preprint arXiv:2605.10544},
  note={EXACT; buckets, epsilon and defaults here follow secondary descriptions},
  year={2026}
}"""
LADM = """\
@inproceedings{chen2025ladm,
  title={LADM: Long-context Training Data Selection with Attention-based Dependency Measurement for LLMs},
  author={Chen, Jianghao and Wu, Junhong and Xu, Yangyifan and Zhang, Jiajun},
  booktitle={Proceedings of the 63rd Annual Meeting of the Association for Computational Linguistics},
  note={arXiv:2503.02502},
  year={2025}
}"""
PROLONG = """\
@inproceedings{chen2024long,
  title={Long Context is Not Long at All: A Prospector of Long-Dependency Data for Large Language Models},
  author={Chen, Longze and Liu, Ziqiang and He, Wanwei and Li, Yunshui and Luo, Run and Yang, Min},
  booktitle={Proceedings of the 62nd Annual Meeting of the Association for Computational Linguistics},
  note={arXiv:2405.17915},
  year={2024}
}"""
