//! A transactional mirror of a mail store on two nodes.
