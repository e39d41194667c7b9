// A clang-tidy plugin that narrows what the checks look at to this project's own declarations. By itself clang-tidy
// matches every node of every header, and the schemas' readers alone are 90,000 lines: 15 s a file, nearly all of them
// for findings that it then throws away. With it a header that comes out of the precompiled one, or from the system, is
// only parsed. `tools/test tidy` builds and loads it; enable it with the check gantry-own-code.
#include <clang-tidy/ClangTidyCheck.h>
#include <clang-tidy/ClangTidyModule.h>
#include <clang-tidy/ClangTidyModuleRegistry.h>
#include <clang/AST/ASTContext.h>
#include <clang/ASTMatchers/ASTMatchFinder.h>
#include <clang/Basic/SourceManager.h>

namespace {

using clang::ast_matchers::MatchFinder;

// The translation unit is the first node that is matched, before its children are visited: those that the traversal
// scope names then. (clangd sets the same scope, so the checks are used to it.)
class OwnCode : public clang::tidy::ClangTidyCheck {
 public:
  using ClangTidyCheck::ClangTidyCheck;

  void registerMatchers(MatchFinder* finder) override {
    finder->addMatcher(clang::ast_matchers::translationUnitDecl().bind("unit"), this);
  }

  void check(const MatchFinder::MatchResult& result) override {
    std::vector<clang::Decl*> own;
    for (auto* declaration : result.Context->getTranslationUnitDecl()->noload_decls()) {
      if (!declaration->isFromASTFile() && !result.SourceManager->isInSystemHeader(declaration->getLocation()))
        own.push_back(declaration);
    }
    result.Context->setTraversalScope(own);
  }
};

class Module : public clang::tidy::ClangTidyModule {
 public:
  void addCheckFactories(clang::tidy::ClangTidyCheckFactories& factories) override {
    factories.registerCheck<OwnCode>("gantry-own-code");
  }
};

const clang::tidy::ClangTidyModuleRegistry::Add<Module> kModule("gantry", "What only this project needs.");

}  // namespace
